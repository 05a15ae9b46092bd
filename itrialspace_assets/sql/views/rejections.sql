-- Rejected cases by stage and reason, with one example.
CREATE VIEW rejections AS
SELECT stage, partition, reason, count(DISTINCT case_uid) AS cases, count(*) AS entries, min(detail) AS example
FROM rejected_cases GROUP BY stage, partition, reason;
