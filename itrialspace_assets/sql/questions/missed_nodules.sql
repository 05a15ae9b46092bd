-- Which nodules did a reader miss on plain slices, or not answer at all, largest first?
SELECT source, reader, case_uid, size_bucket, round(diameter_mm, 1) AS diameter_mm, lobe, round(score, 1) AS score, parse_status, reason
FROM predictions WHERE task = 'presence' AND condition = 'plain' AND control = 'none' AND presence = 'present' AND correct IS NOT TRUE
ORDER BY predictions.diameter_mm DESC;
