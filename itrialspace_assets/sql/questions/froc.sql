-- How many nodules does a reader that marks whole scans find, at which rate of false marks?
SELECT analysis, source, reader, metric, round(estimate, 3) AS estimate, round(low, 3) AS low, round(high, 3) AS high,
       k AS found, n_cases, n_negatives AS lesion_free_scans, flag
FROM metrics WHERE task = 'detection' AND stratum = 'all'
ORDER BY analysis, source, reader, metric LIKE 'fp%', try_cast(regexp_extract(metric, '_([0-9.]+)$', 1) AS DOUBLE) NULLS FIRST, metric;
