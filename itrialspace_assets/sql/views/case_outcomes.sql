-- One row per inserted nodule: its host and donor, what was asked, what was got.
CREATE VIEW case_outcomes AS
SELECT c.mode, c.trial, c.arm, c.case_uid, i.nodule_idx, c.host_dataset, c.host_scan_uid, c.host_person_uid,
       n.donor_dataset, i.donor_nodule_uid, i.donor_person_uid, i.label, i.asked_lobe, i.lobe, i.planned_diameter_mm,
       i.diameter_mm, i.size_bucket, i.shift_mm, i.pleural_mm, i.relaxations, i.status, c.anatomy
FROM cases c
JOIN insertions i USING (case_uid)
JOIN case_nodules n ON n.case_uid = i.case_uid AND n.nodule_idx = i.nodule_idx;
