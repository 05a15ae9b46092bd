-- What was put aside, where, and why?
SELECT stage, partition, reason, count(*) AS cases, min(detail) AS example FROM rejected_cases GROUP BY ALL ORDER BY cases DESC;
