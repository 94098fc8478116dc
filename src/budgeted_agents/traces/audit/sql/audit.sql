-- The audit of budgeted-agents over a relation `calls`, such as `replay --parquet` writes: one row a call.
-- It makes three views: `judged_calls`, `audited_sessions` and `audited_groups`. DuckDB's dialect; other engines need
-- little more than their own words for HUGEINT (any exact integer of 38 digits), max_by and list_bool_or.
-- Money is in atto-USD (10^-18) until it is added up, and a call's cost is rounded up to whole nano-USD (10^-9).

-- What each call cost, and what its trace says it cost.
CREATE OR REPLACE VIEW priced_calls AS
SELECT *,
    input + cache_read + cache_write_5m + cache_write_1h + audio_input + image_input AS prompt_tokens,
    output + reasoning + audio_output + image_output AS completion_tokens,
    recorded_atto::HUGEINT AS said,
    CASE
        WHEN is_free THEN 0::HUGEINT
        WHEN is_priced THEN extra_atto::HUGEINT
            + input::HUGEINT * rate_input + cache_read::HUGEINT * rate_cache_read
            + cache_write_5m::HUGEINT * rate_cache_write_5m + cache_write_1h::HUGEINT * rate_cache_write_1h
            + audio_input::HUGEINT * rate_audio_input + image_input::HUGEINT * rate_image_input
            + output::HUGEINT * rate_output + reasoning::HUGEINT * rate_reasoning
            + audio_output::HUGEINT * rate_audio_output + image_output::HUGEINT * rate_image_output
    END AS right_cost
FROM calls
WHERE kind <> 'tool';

-- Whether a recorded cost is the right one but for the digits that were written.
CREATE OR REPLACE MACRO agrees(said, right_cost, half_digit) AS (
    abs(right_cost - said) <= 1000000000
    OR (said <> 0 AND (
        (abs(right_cost - said) <= 10000000000 AND abs(right_cost - said) * 1000 <= said)
        OR abs(right_cost - said) <= half_digit))
);

-- Whether a whole number of tokens, from 1 to `most`, makes up a gap at a difference of rates.
CREATE OR REPLACE MACRO whole_tokens(gap, rate, most) AS (
    gap > 0 AND rate > 0
    AND (gap + rate // 2) // rate BETWEEN 1 AND most
    AND abs(gap - (gap + rate // 2) // rate * rate) <= greatest(rate // 1000, 1000)
);

-- Whether a ratio is a fraction of small numbers, such as 5/3.
CREATE OR REPLACE MACRO is_simple(ratio) AS (
    ratio > 0 AND ratio < 12 AND list_bool_or(list_transform(range(1, 13), lambda q:
        abs(round(ratio * q) / q - ratio) <= 1e-6 * round(ratio * q) / q))
);

CREATE OR REPLACE VIEW verdicts_on_calls AS
SELECT *,
    CASE
        WHEN is_free THEN CASE
            WHEN NOT is_recorded THEN 'recorded_missing' WHEN said = 0 THEN 'exact' ELSE 'mismatch' END
        WHEN NOT is_priced THEN 'unpriced'
        WHEN NOT is_recorded THEN 'recorded_missing'
        WHEN said IS NULL THEN 'mismatch'
        WHEN is_by_log AND (agrees(said, right_cost, half_digit_atto)
            OR (list_contains(flags, 'tokens_estimated') AND abs(gap) * 10 <= right_cost))
            THEN 'explained_by_logged_price'
        WHEN abs(gap) <= 1000000000 THEN 'exact'
        WHEN agrees(said, right_cost, half_digit_atto) THEN 'rounding'
        WHEN list_contains(flags, 'tokens_estimated') AND abs(gap) * 10 <= right_cost THEN 'rounding'
        WHEN agrees(said, logged_atto::HUGEINT, half_digit_atto) THEN 'explained_by_logged_price'
        WHEN whole_tokens(gap, longer, cache_write_1h) OR whole_tokens(-gap, longer, cache_write_5m)
            THEN 'explained_by_cache_ttl'
        WHEN whole_tokens(gap, saved, input)
            AND (rate_input % saved <> 0 OR rate_output % saved <> 0 OR (gap + saved // 2) // saved % 64 = 0)
            THEN 'explained_by_unrecorded_cache'
        ELSE 'mismatch'
    END AS verdict,
    CASE
        WHEN right_cost > 0 AND is_simple(said / right_cost) THEN said / right_cost
        WHEN right_cost > 0 AND short_lived > 0 AND is_simple(said / short_lived) THEN said / short_lived
        ELSE coalesce(said / nullif(right_cost, 0), 0)
    END AS ratio,
    CASE WHEN is_free THEN 0 ELSE coalesce(said / nullif(prompt_tokens + completion_tokens, 0), 0) END AS per_token
FROM (
    SELECT *,
        right_cost - said AS gap,
        rate_cache_write_1h - rate_cache_write_5m AS longer,
        rate_input - rate_cache_read AS saved,
        right_cost - cache_write_1h::HUGEINT * (rate_cache_write_1h - rate_cache_write_5m) AS short_lived
    FROM priced_calls
);

-- Where tokens that must have come from a cache explain the recorded cost, that is what the call cost.
CREATE OR REPLACE VIEW judged_calls AS
SELECT *,
    (CASE verdict WHEN 'explained_by_unrecorded_cache' THEN said ELSE right_cost END + 999999999) // 1000000000
        AS cost_nanos
FROM verdicts_on_calls;

-- From the best to the worst: what is true of many calls is the worst that is true of one.
CREATE OR REPLACE MACRO verdicts() AS [
    'exact', 'rounding', 'explained_by_cache_ttl', 'explained_by_unrecorded_cache', 'explained_by_logged_price',
    'constant_ratio', 'recorded_missing', 'unpriced', 'mismatch'
];

-- Each session twice at most: its calls, and what its trace says of it in sum.
CREATE OR REPLACE VIEW session_parts AS
SELECT *,
    CASE
        WHEN worst_rank < 9 THEN verdicts()[worst_rank]
        WHEN mismatches = 1 AND is_simple(lowest_ratio) THEN verdicts()[greatest(other_rank, 6)]
        WHEN mismatches > 1 AND lowest_ratio > 0 AND highest_ratio - lowest_ratio <= 1e-4 * lowest_ratio
            THEN verdicts()[greatest(other_rank, 6)]
        WHEN mismatches > 1 AND lowest_price > 0 AND highest_price - lowest_price <= 1e-4 * lowest_price
            THEN verdicts()[greatest(other_rank, 6)]
        ELSE 'mismatch'
    END AS verdict
FROM (
    SELECT session, kind = 'statement' AS is_stated,
        sum(weight) AS calls,
        sum(prompt_tokens) AS input_tokens,
        sum(cache_read) AS cached_input_tokens,
        sum(completion_tokens) AS output_tokens,
        sum(cost_nanos) AS cost_nanos,
        coalesce(sum(weight) FILTER (cost_nanos IS NULL), 0) AS unpriced_calls,
        sum(said) AS recorded_atto,
        count(*) FILTER (verdict = 'mismatch') AS mismatches,
        min(ratio) FILTER (verdict = 'mismatch') AS lowest_ratio,
        max(ratio) FILTER (verdict = 'mismatch') AS highest_ratio,
        min(per_token) FILTER (verdict = 'mismatch') AS lowest_price,
        max(per_token) FILTER (verdict = 'mismatch') AS highest_price,
        max(list_position(verdicts(), verdict)) AS worst_rank,
        coalesce(max(list_position(verdicts(), verdict)) FILTER (verdict <> 'mismatch'), 1) AS other_rank
    FROM (SELECT *, CASE kind WHEN 'statement' THEN greatest(calls_stated, 1) ELSE 1 END AS weight FROM judged_calls)
    GROUP BY ALL
);

-- One row a session: its calls' figures if there are any, else what is stated.
CREATE OR REPLACE VIEW audited_sessions AS
SELECT session AS session_id,
    coalesce(c.calls, s.calls) AS calls,
    coalesce(c.input_tokens, s.input_tokens) AS input_tokens,
    coalesce(c.cached_input_tokens, s.cached_input_tokens) AS cached_input_tokens,
    coalesce(c.output_tokens, s.output_tokens) AS output_tokens,
    CASE WHEN c.calls IS NULL THEN s.cost_nanos ELSE c.cost_nanos END AS cost_nanos,
    coalesce(c.recorded_atto, s.recorded_atto) AS recorded_atto,
    coalesce(c.unpriced_calls, s.unpriced_calls) AS unpriced_calls,
    CASE
        WHEN c.calls IS NULL THEN s.verdict
        WHEN c.recorded_atto IS NOT NULL OR s.recorded_atto IS NULL THEN c.verdict
        WHEN s.unpriced_calls = 0 THEN s.verdict
        WHEN c.unpriced_calls > 0 THEN 'unpriced'
        WHEN abs(s.recorded_atto // 1000000000 - c.cost_nanos) <= c.calls THEN 'exact'
        WHEN abs(s.recorded_atto // 1000000000 - c.cost_nanos) <= greatest(10 * c.calls, c.cost_nanos // 1000)
            THEN 'rounding'
        ELSE 'mismatch'
    END AS verdict
FROM (FROM session_parts WHERE NOT is_stated) c
FULL JOIN (FROM session_parts WHERE is_stated) s USING (session);

-- The same calls by model, node, tenant, feature and day: one row for each name of each.
CREATE OR REPLACE VIEW audited_groups AS
WITH counted AS (
    FROM judged_calls WHERE kind <> 'statement'
    UNION ALL BY NAME
    FROM judged_calls j WHERE kind = 'statement' AND NOT EXISTS (
        FROM judged_calls c WHERE c.session = j.session AND c.kind <> 'statement')
)
SELECT dimension, name,
    sum(CASE kind WHEN 'statement' THEN greatest(calls_stated, 1) ELSE 1 END) AS calls,
    sum(prompt_tokens) AS input_tokens,
    sum(cache_read) AS cached_input_tokens,
    sum(completion_tokens) AS output_tokens,
    sum(cost_nanos) AS cost_nanos,
    sum(said) AS recorded_atto
FROM counted UNPIVOT (name FOR dimension IN (model, node, tenant, feature, day))
GROUP BY ALL;
