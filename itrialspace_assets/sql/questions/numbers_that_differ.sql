-- Which numbers of metrics do not follow from their cases? (expected: none)
-- $analysis: the report: a mode, or real-<dataset>; for example m02_size_detection_curve
SELECT m.analysis, m.source, m.reader, m.task, m.condition, m.stratum, m.metric, m.estimate, r.estimate AS recomputed, m.k, r.k AS recomputed_k, m.n_slices,
       r.n_slices AS recomputed_n
FROM recomputed_metrics r
JOIN metrics m USING (analysis, split, source, reader, task, condition, stratum, metric)
WHERE r.analysis = $analysis AND (m.estimate IS NULL OR abs(m.estimate - r.estimate) > 1e-9 OR m.k IS DISTINCT FROM r.k OR m.n_slices <> r.n_slices)
ORDER BY ALL;
