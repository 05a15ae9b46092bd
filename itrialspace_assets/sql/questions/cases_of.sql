-- Which cases are behind a number of the table metrics, and which cost it most?
-- $analysis: the report: a mode, or real-<dataset>; for example m02_size_detection_curve
-- $metric: the metric, for example sensitivity
-- $task = presence: the task
-- $condition = plain: the guidance
-- $stratum = all: all, or factor=level, for example size_bucket=5-10mm
-- $source = any: the image source
-- $reader = any: the reader
-- Of a metric that is no sum over slices: every slice that counts, wrong answers first; contribution and lost are empty.
WITH behind AS (
  SELECT *, metric = $metric AS adds FROM metric_contributions
  WHERE analysis = $analysis AND task = $task AND condition = $condition AND stratum = $stratum
    AND ($source = 'any' OR source = $source) AND ($reader = 'any' OR reader = $reader)
    AND metric = CASE WHEN $metric IN ('accuracy', 'accuracy_one_n', 'sensitivity', 'specificity', 'ppv', 'npv', 'balanced_accuracy', 'macro_recall', 'auc')
                      THEN $metric ELSE 'accuracy' END
    AND EXISTS (SELECT 1 FROM metrics m WHERE m.analysis = $analysis AND m.task = $task AND m.condition = $condition AND m.stratum = $stratum AND m.metric = $metric
                AND m.n_slices IS NOT NULL)
)
SELECT b.source, b.reader, b.case_uid, b.truth, b.answer, b.status, round(b.score, 3) AS score, round(b.value, 3) AS value,
       CASE WHEN b.adds THEN round(b.contribution, 6) END AS contribution, CASE WHEN b.adds THEN round(b.lost, 6) END AS lost, round(b.diameter_mm, 1) AS diameter_mm,
       b.host_person_uid, b.donor_person_uid, b.slice_uid, p.path AS picture
FROM behind b
LEFT JOIN (SELECT DISTINCT source, slice_uid, condition, case_uid, path FROM slices WHERE control = 'none') p
  ON p.source = b.source AND p.slice_uid = b.slice_uid AND p.condition = b.condition AND p.case_uid = b.case_uid
ORDER BY b.lost DESC, b.source, b.reader, b.case_uid, b.slice_uid;
