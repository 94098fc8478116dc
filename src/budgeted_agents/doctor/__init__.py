"""The doctor: runs an application on fake models, without a network, and proves that its budget holds."""

from budgeted_agents.doctor.examination import examine
from budgeted_agents.doctor.findings import Diagnosis, Finding, Proof
from budgeted_agents.doctor.loading import load_app

__all__ = ["Diagnosis", "Finding", "Proof", "examine", "load_app"]
