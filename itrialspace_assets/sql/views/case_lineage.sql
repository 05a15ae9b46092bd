-- From a nodule of the index to every answer about it, rendered or real: planned, inserted, rendered, cut, read.
CREATE VIEW case_lineage AS
WITH target AS (  -- slices are cut through a case's first inserted nodule
  SELECT case_uid, min(nodule_idx) AS nodule_idx FROM insertions GROUP BY case_uid
), rendered AS (
  SELECT p.donor_nodule_uid AS nodule_uid, p.mode, p.case_uid, p.nodule_idx, c.host_scan_uid, c.host_person_uid, i.mask_uid, i.diameter_mm, i.lobe,
         r.source, r.image_uid, s.slice_uid, s.condition, s.dataset, j.reason AS rejected_because
  FROM case_nodules p
  JOIN cases c USING (case_uid)
  LEFT JOIN insertions i ON i.case_uid = p.case_uid AND i.nodule_idx = p.nodule_idx
  LEFT JOIN cts r ON r.case_uid = p.case_uid AND NOT r.is_lesion_free
  LEFT JOIN target t ON t.case_uid = p.case_uid AND t.nodule_idx = p.nodule_idx
  LEFT JOIN slices s ON s.case_uid = t.case_uid AND s.source = r.source AND s.presence = 'present' AND s.control = 'none'
  LEFT JOIN (SELECT case_uid, min(reason) AS reason FROM rejected_cases GROUP BY case_uid) j ON j.case_uid = p.case_uid
  WHERE p.present  -- the place of a clean case comes from a donor, its nodule does not
), seen AS (
  SELECT * FROM rendered
  UNION ALL
  SELECT n.nodule_uid, 'real', s.case_uid, 0, n.scan_uid, n.person_uid, NULL, s.diameter_mm, s.lobe, 'real', s.image_uid, s.slice_uid, s.condition, s.dataset, NULL
  FROM nodules n JOIN slices s ON s.source = 'real' AND s.presence = 'present' AND s.control = 'none' AND s.case_uid = 'real/' || n.nodule_uid
)
SELECT n.nodule_uid, n.dataset AS donor_dataset, n.person_uid AS donor_person_uid, v.mode, v.case_uid, v.nodule_idx, v.host_scan_uid, v.host_person_uid,
       v.mask_uid, v.diameter_mm, v.lobe, v.source, v.image_uid, v.slice_uid, v.condition, a.reader, a.task, a.answer, a.score, a.status, v.rejected_because, n.anatomy
FROM nodules n
LEFT JOIN seen v USING (nodule_uid)
LEFT JOIN answers a ON a.slice_uid = v.slice_uid AND a.condition = v.condition AND a.control = 'none' AND a.source = v.source AND a.mode = v.mode AND a.dataset = v.dataset;
