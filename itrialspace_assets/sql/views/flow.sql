-- Cases at each stage, by mode and source; rejected cases are not replaced.
CREATE VIEW flow AS
SELECT c.mode, o.source, count(DISTINCT c.case_uid) AS planned, count(DISTINCT i.case_uid) AS inserted,
       count(DISTINCT x.case_uid) AS rendered, count(DISTINCT s.case_uid) AS sliced
FROM cases c
CROSS JOIN (SELECT DISTINCT source FROM cts) o
LEFT JOIN insertions i USING (case_uid)
LEFT JOIN cts x ON x.case_uid = c.case_uid AND x.source = o.source
LEFT JOIN slices s ON s.case_uid = c.case_uid AND s.source = o.source
GROUP BY ALL;
