-- What each slice adds to each number of metrics that is a sum over slices, and what it costs; a stratum's contributions add up to its estimate.
CREATE VIEW metric_contributions AS
WITH slice AS (
  SELECT *, unnest(strata) AS stratum, truth IN ('present', 'malignant') AS positive, coalesce(status = 'ok' AND answer IS NOT NULL, false) AS answered,
         coalesce(status = 'ok', false) AND answer IN ('present', 'malignant') AS said_yes
  FROM metric_cases
), asked AS (  -- without cells of a task that the reader does not do
  SELECT * FROM slice
  WINDOW cell AS (PARTITION BY analysis, source, reader, task, condition, stratum)
  QUALIFY NOT (bool_or(coalesce(status = 'unsupported', false)) OVER cell AND bool_and(coalesce(status = 'unsupported', true)) OVER cell)
), counted AS (  -- one row a slice and stratum whose truth is known, with the counts of its cell
  SELECT *, count(*) OVER cell AS n, sum((positive)::INT) OVER cell AS n_positive, sum((NOT positive)::INT) OVER cell AS n_other,
         sum((one_n)::INT) OVER cell AS n_one, sum((said_yes)::INT) OVER cell AS n_yes, sum((answered AND NOT said_yes)::INT) OVER cell AS n_no,
         count(*) OVER class AS n_class, sum((answered)::INT) OVER cell AS n_answered, sum((answered AND score IS NULL)::INT) OVER cell AS n_unscored,
         sum((answered AND positive)::INT) OVER cell AS ranked_positive,  -- pairs of AUC: equal scores are half
         sum((answered AND positive)::INT) OVER up - sum((answered AND positive)::INT) OVER tie / 2.0 AS positive_below,
         sum((answered AND NOT positive)::INT) OVER up - sum((answered AND NOT positive)::INT) OVER tie / 2.0 AS other_below
  FROM asked
  WHERE truth IS NOT NULL
  WINDOW cell AS (PARTITION BY analysis, source, reader, task, condition, stratum),
         class AS (PARTITION BY analysis, source, reader, task, condition, stratum, truth),
         tie AS (PARTITION BY analysis, source, reader, task, condition, stratum, score),
         up AS (PARTITION BY analysis, source, reader, task, condition, stratum ORDER BY score RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
), valued AS (  -- value: from 0 to 1; weight: the most that the slice can add
  SELECT *, unnest([
    {'metric': 'accuracy', 'used': true, 'share': true, 'value': "right"::DOUBLE, 'weight': 1.0::DOUBLE / n},
    {'metric': 'accuracy_one_n', 'used': one_n, 'share': true, 'value': "right"::DOUBLE, 'weight': 1.0::DOUBLE / n_one},
    {'metric': 'sensitivity', 'used': task IN ('presence', 'malignancy') AND positive, 'share': true, 'value': "right"::DOUBLE, 'weight': 1.0::DOUBLE / n_positive},
    {'metric': 'specificity', 'used': task IN ('presence', 'malignancy') AND NOT positive, 'share': true, 'value': "right"::DOUBLE, 'weight': 1.0::DOUBLE / n_other},
    {'metric': 'ppv', 'used': task IN ('presence', 'malignancy') AND said_yes, 'share': true, 'value': positive::DOUBLE, 'weight': 1.0::DOUBLE / n_yes},
    {'metric': 'npv', 'used': task IN ('presence', 'malignancy') AND answered AND NOT said_yes, 'share': true, 'value': (NOT positive)::DOUBLE, 'weight': 1.0::DOUBLE / n_no},
    {'metric': 'balanced_accuracy', 'used': task IN ('presence', 'malignancy') AND n_positive > 0 AND n_other > 0, 'share': false,
     'value': "right"::DOUBLE, 'weight': 0.5::DOUBLE / n_class},
    {'metric': 'macro_recall', 'used': task IN ('lobe', 'size'), 'share': false, 'value': "right"::DOUBLE,
     'weight': 1.0::DOUBLE / n_class / round(sum(1.0::DOUBLE / n_class) OVER (PARTITION BY analysis, source, reader, task, condition, stratum))},
    {'metric': 'auc', 'used': task IN ('presence', 'malignancy') AND n_positive > 0 AND n_other > 0 AND n_answered > 0 AND n_unscored = 0, 'share': false,
     'value': CASE WHEN NOT answered THEN 0.0 WHEN positive THEN other_below / n_other ELSE (ranked_positive - positive_below) / n_positive END::DOUBLE,
     'weight': 0.5::DOUBLE / n_class}
  ], recursive := true)
  FROM counted
)
SELECT analysis, split, source, reader, task, condition, stratum, metric, share, slice_uid, case_uid, truth, answer, score, status, value, weight,
       value * weight AS contribution, (1 - value) * weight AS lost, negative, diameter_mm, sha256, host_person_uid, donor_person_uid
FROM valued WHERE used;
