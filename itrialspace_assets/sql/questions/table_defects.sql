-- What is wrong with the published tables, and is it known?
SELECT dataset, severity, rule, "column", rows, round(100.0 * rows / of_rows, 1) AS percent, first_rows, sample, known FROM findings ORDER BY severity DESC, rows DESC, dataset, rule;
