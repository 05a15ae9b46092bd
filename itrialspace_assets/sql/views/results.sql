-- Headline numbers: all slices of an analysis, every condition, with intervals.
CREATE VIEW results AS
SELECT analysis, source, reader, task, condition, metric, estimate, low, high, method, k, n_slices, n_pictures, n_cases, n_negatives, n_hosts, n_donors, n_effective, flag, anatomy
FROM metrics WHERE stratum = 'all';
