-- Numbers of metrics computed again from their cases, in SQL alone.
CREATE VIEW recomputed_metrics AS
SELECT analysis, split, source, reader, task, condition, stratum, metric, sum(contribution) AS estimate,
       CASE WHEN bool_and(share) THEN sum(value)::BIGINT END AS k, count(*) AS n_slices, count(DISTINCT sha256) AS n_pictures,
       count(DISTINCT case_uid) AS n_cases, count(*) FILTER (negative) AS n_negatives, count(DISTINCT host_person_uid) AS n_hosts,
       count(DISTINCT donor_person_uid) AS n_donors
FROM metric_contributions GROUP BY analysis, split, source, reader, task, condition, stratum, metric;
