-- From a nodule of the index to every answer about it: planned, inserted, rendered, cut, read.
CREATE VIEW case_lineage AS
SELECT n.nodule_uid, n.dataset AS donor_dataset, n.person_uid AS donor_person_uid, p.mode, p.case_uid, p.nodule_idx, c.host_scan_uid, c.host_person_uid,
       i.mask_uid, i.diameter_mm, i.lobe, r.source, r.image_uid, s.slice_uid, s.condition, a.reader, a.task, a.answer, a.score, a.status,
       j.reason AS rejected_because, coalesce(c.anatomy, n.anatomy) AS anatomy
FROM nodules n
LEFT JOIN case_nodules p ON p.donor_nodule_uid = n.nodule_uid
LEFT JOIN cases c USING (case_uid)
LEFT JOIN insertions i ON i.case_uid = p.case_uid AND i.nodule_idx = p.nodule_idx
LEFT JOIN cts r ON r.case_uid = p.case_uid AND NOT r.is_lesion_free
LEFT JOIN slices s ON s.case_uid = p.case_uid AND s.source = r.source AND s.presence = 'present'
LEFT JOIN predictions a ON a.slice_uid = s.slice_uid AND a.condition = s.condition AND a.source = s.source AND a.mode = s.mode AND a.dataset = s.dataset
LEFT JOIN (SELECT case_uid, min(reason) AS reason FROM rejected_cases GROUP BY case_uid) j ON j.case_uid = p.case_uid;
