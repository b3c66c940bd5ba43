-- What version 0.1 made: an index of schema 1 (PRAGMA user_version), with a row of each kind.
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE cameras (
	name VARCHAR NOT NULL, 
	first_seen_at_ns INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "cameras" VALUES('hall',1795449909123000000);
INSERT INTO "cameras" VALUES('yard',1795449909123000000);
CREATE TABLE coverage (
	camera VARCHAR NOT NULL, 
	hour_at_ns INTEGER NOT NULL, 
	frames INTEGER NOT NULL, 
	watched_s DOUBLE NOT NULL, 
	PRIMARY KEY (camera, hour_at_ns)
);
CREATE TABLE evidence (
	id VARCHAR NOT NULL, 
	camera VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	captured_at_ns INTEGER NOT NULL, 
	run_seq INTEGER, 
	pts INTEGER NOT NULL, 
	incident VARCHAR, 
	max_confidence DOUBLE NOT NULL, 
	drill BOOLEAN NOT NULL, 
	path VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	bytes INTEGER NOT NULL, 
	ledger_seq INTEGER NOT NULL, 
	missing BOOLEAN NOT NULL, 
	record JSON NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (path)
);
INSERT INTO "evidence" VALUES('0193b000-0000-7000-8000-000000000000','hall','hit',1795449909123456789,1,0,'0193a000-0000-7000-8000-000000000002',0.25,0,'evidence/hall/2026/11/23/160509.123-0193b000-0000-7000-8000-000000000000.jpg','c09897181664cecee8291a6fefc2e8d08a46f90eea3de3388c708603e8c23d69',3185,5,0,'{"id": "0193b000-0000-7000-8000-000000000000", "camera": "hall", "kind": "hit", "run": "0193a000-0000-7000-8000-000000000001", "incident": "0193a000-0000-7000-8000-000000000002", "pts": "0", "time_base": [1, 90000], "captured_at": "2026-11-23T16:05:09.123Z", "captured_at_ns": "1795449909123456789", "uncertainty_s": 0.05, "relative_uncertainty_s": 0.03, "clock_synchronised": true, "settling": false, "camera_clock_ns": null, "width_px": 32, "height_px": 24, "detections": [{"label": "fire", "confidence": 0.25, "box": [1.0, 2.0, 9.0, 8.0], "zone": null}, {"label": "smoke", "confidence": 0.125, "box": [0.0, 0.0, 4.0, 4.0], "zone": null}], "detections_omitted": 0, "model": {"sha256": "abababababababababababababababababababababababababababababababab", "name": "firewitness-11n", "runtime": "openvino", "input_px": 640, "labels": ["fire", "smoke"]}, "thresholds": {"fire": 0.3, "smoke": 0.35}, "damage": "no", "colour": ["bt709", "limited"], "drill": false, "version": "0.1.0"}');
INSERT INTO "evidence" VALUES('0193b000-0000-7000-8000-000000000001','hall','hit',1795449910123456789,1,90000,'0193a000-0000-7000-8000-000000000002',0.26,0,'evidence/hall/2026/11/23/160510.123-0193b000-0000-7000-8000-000000000001.jpg','0b55125744e207f3667d93b3638ed24b819327846cac749c3f0f017a7f88678c',3190,6,0,'{"id": "0193b000-0000-7000-8000-000000000001", "camera": "hall", "kind": "hit", "run": "0193a000-0000-7000-8000-000000000001", "incident": "0193a000-0000-7000-8000-000000000002", "pts": "90000", "time_base": [1, 90000], "captured_at": "2026-11-23T16:05:10.123Z", "captured_at_ns": "1795449910123456789", "uncertainty_s": 0.05, "relative_uncertainty_s": 0.03, "clock_synchronised": true, "settling": false, "camera_clock_ns": null, "width_px": 32, "height_px": 24, "detections": [{"label": "fire", "confidence": 0.26, "box": [1.0, 2.0, 9.0, 8.0], "zone": null}, {"label": "smoke", "confidence": 0.125, "box": [0.0, 0.0, 4.0, 4.0], "zone": null}], "detections_omitted": 0, "model": {"sha256": "abababababababababababababababababababababababababababababababab", "name": "firewitness-11n", "runtime": "openvino", "input_px": 640, "labels": ["fire", "smoke"]}, "thresholds": {"fire": 0.3, "smoke": 0.35}, "damage": "no", "colour": ["bt709", "limited"], "drill": false, "version": "0.1.0"}');
INSERT INTO "evidence" VALUES('0193b000-0000-7000-8000-000000000002','hall','hit',1795449911123456789,1,180000,'0193a000-0000-7000-8000-000000000002',0.27,0,'evidence/hall/2026/11/23/160511.123-0193b000-0000-7000-8000-000000000002.jpg','a6a21a7bdccc25076746ea32846da71bf08a188437f04720167ce81fdb65994a',3196,7,0,'{"id": "0193b000-0000-7000-8000-000000000002", "camera": "hall", "kind": "hit", "run": "0193a000-0000-7000-8000-000000000001", "incident": "0193a000-0000-7000-8000-000000000002", "pts": "180000", "time_base": [1, 90000], "captured_at": "2026-11-23T16:05:11.123Z", "captured_at_ns": "1795449911123456789", "uncertainty_s": 0.05, "relative_uncertainty_s": 0.03, "clock_synchronised": true, "settling": false, "camera_clock_ns": null, "width_px": 32, "height_px": 24, "detections": [{"label": "fire", "confidence": 0.27, "box": [1.0, 2.0, 9.0, 8.0], "zone": null}, {"label": "smoke", "confidence": 0.125, "box": [0.0, 0.0, 4.0, 4.0], "zone": null}], "detections_omitted": 0, "model": {"sha256": "abababababababababababababababababababababababababababababababab", "name": "firewitness-11n", "runtime": "openvino", "input_px": 640, "labels": ["fire", "smoke"]}, "thresholds": {"fire": 0.3, "smoke": 0.35}, "damage": "no", "colour": ["bt709", "limited"], "drill": false, "version": "0.1.0"}');
CREATE TABLE gaps (
	id VARCHAR NOT NULL, 
	camera VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	from_at_ns INTEGER NOT NULL, 
	to_at_ns INTEGER, 
	detail VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "gaps" VALUES('0193b000-0000-7000-8000-000000000384','hall','stalled',1795449899123456789,1795449909123456789,'');
CREATE TABLE incidents (
	id VARCHAR NOT NULL, 
	camera VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	drill BOOLEAN NOT NULL, 
	first_suspect_at_ns INTEGER NOT NULL, 
	first_confirmed_at_ns INTEGER, 
	ended_at_ns INTEGER, 
	labels JSON NOT NULL, 
	max_confidence DOUBLE NOT NULL, 
	place JSON NOT NULL, 
	previous VARCHAR, 
	ignored_zones JSON NOT NULL, 
	evidence_count INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	CHECK (state IN ('suspect', 'confirmed', 'ended', 'interrupted', 'unconfirmed'))
);
INSERT INTO "incidents" VALUES('0193a000-0000-7000-8000-000000000002','hall','detected','ended',0,1795449909123456789,NULL,NULL,'["fire"]',0.3,'[0.1, 0.1, 0.2, 0.2]',NULL,'[]',3);
CREATE TABLE meta (
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('seq','9');
INSERT INTO "meta" VALUES('hash','7a44c7e89b49149747f5c37b849e2babecb168f05c3bd2d580142f2c097d23bb');
INSERT INTO "meta" VALUES('file','2026-11.jsonl');
INSERT INTO "meta" VALUES('offset','4361');
INSERT INTO "meta" VALUES('noted:0','0');
INSERT INTO "meta" VALUES('size:2026-11.jsonl','4361');
INSERT INTO "meta" VALUES('noted:1','1795449909123456789');
INSERT INTO "meta" VALUES('folder:evidence/hall/2026/11/23','');
INSERT INTO "meta" VALUES('noted:9','1795449909123456789');
CREATE TABLE runs (
	id VARCHAR NOT NULL, 
	run_seq INTEGER NOT NULL, 
	camera VARCHAR NOT NULL, 
	started_at_ns INTEGER NOT NULL, 
	body JSON NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (run_seq)
);
INSERT INTO "runs" VALUES('0193a000-0000-7000-8000-000000000001',1,'hall',1795449909123456789,'{"id": "0193a000-0000-7000-8000-000000000001", "run_seq": 1, "camera": "hall", "started_at": "2026-11-23T16:05:09.123Z", "started_at_ns": "1795449909123456789", "started_mono_ns": "1", "time_base": [1, 90000], "codec": "h264", "width_px": 32, "height_px": 24, "cause": "connected"}');
CREATE TABLE sightings (
	evidence VARCHAR NOT NULL, 
	label VARCHAR NOT NULL, 
	captured_at_ns INTEGER NOT NULL, 
	confidence DOUBLE NOT NULL, 
	PRIMARY KEY (evidence, label)
);
INSERT INTO "sightings" VALUES('0193b000-0000-7000-8000-000000000000','fire',1795449909123456789,0.25);
INSERT INTO "sightings" VALUES('0193b000-0000-7000-8000-000000000000','smoke',1795449909123456789,0.125);
INSERT INTO "sightings" VALUES('0193b000-0000-7000-8000-000000000001','fire',1795449910123456789,0.26);
INSERT INTO "sightings" VALUES('0193b000-0000-7000-8000-000000000001','smoke',1795449910123456789,0.125);
INSERT INTO "sightings" VALUES('0193b000-0000-7000-8000-000000000002','fire',1795449911123456789,0.27);
INSERT INTO "sightings" VALUES('0193b000-0000-7000-8000-000000000002','smoke',1795449911123456789,0.125);
CREATE INDEX ix_runs_camera ON runs (camera);
CREATE INDEX incidents_time ON incidents (first_suspect_at_ns, id);
CREATE INDEX incidents_state ON incidents (state);
CREATE INDEX incidents_camera_time ON incidents (camera, first_suspect_at_ns, id);
CREATE INDEX evidence_incident ON evidence (incident, captured_at_ns, id);
CREATE INDEX evidence_time ON evidence (captured_at_ns, id);
CREATE INDEX evidence_run_unknown ON evidence (id) WHERE run_seq IS NULL;
CREATE INDEX evidence_camera_time ON evidence (camera, captured_at_ns, id);
CREATE INDEX evidence_kind_time ON evidence (kind, captured_at_ns, id);
CREATE INDEX sightings_label_time ON sightings (label, captured_at_ns, evidence);
CREATE INDEX gaps_camera_time ON gaps (camera, from_at_ns);
CREATE INDEX gaps_time ON gaps (from_at_ns, id);
COMMIT;
