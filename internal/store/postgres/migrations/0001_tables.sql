-- Times are Unix nanoseconds: timestamptz has microseconds only. Texts are ordered by their bytes, and hold no zero byte: see text.go.
-- /*by_time*/ becomes PARTITION BY RANGE where events are divided natively.

CREATE TABLE offsets (
	"partition" integer PRIMARY KEY,
	incarnation text COLLATE "C" NOT NULL,
	seq         bigint NOT NULL, -- its 64 bits
	revision    bigint NOT NULL
);

CREATE TABLE events (
	time        bigint NOT NULL,
	received    bigint NOT NULL,
	seq         bigint NOT NULL,
	finder      bigint NOT NULL, -- a hash of tenant, source and id
	idx         integer NOT NULL,
	"partition" integer NOT NULL,
	identified  boolean NOT NULL,
	tenant      text COLLATE "C" NOT NULL,
	source      text COLLATE "C" NOT NULL,
	type        text COLLATE "C" NOT NULL,
	id          text COLLATE "C" NOT NULL,
	subject     text COLLATE "C" NOT NULL,
	data        text COLLATE "C",
	extensions  text COLLATE "C"
) /*by_time*/;

-- What commits bring, as it comes: rows of a minute that belong together are merged when they are read, and in the background.
CREATE TABLE rollup_fresh (
	start       bigint NOT NULL,
	metric      bigint NOT NULL,
	count       bigint NOT NULL,
	"values"    bigint NOT NULL,
	sum         double precision NOT NULL,
	min         double precision, -- null, like those that follow, while no observation had a number
	max         double precision,
	last        double precision,
	last_at     bigint,
	"partition" integer NOT NULL,
	tenant      text COLLATE "C" NOT NULL,
	series      bytea NOT NULL, -- a hash of labels
	labels      text[] COLLATE "C" NOT NULL,
	sketches    bytea
) PARTITION BY LIST ("partition");
ALTER TABLE rollup_fresh ALTER COLUMN sketches SET STORAGE EXTERNAL;
CREATE INDEX rollup_fresh_place ON rollup_fresh (tenant, metric, start);

-- Its only part. Row-level security is the whole's, and forbids COPY; into the part, which has none, a role may copy, and may do nothing else with it.
CREATE TABLE rollup_fresh_rows PARTITION OF rollup_fresh DEFAULT
	WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.02);

-- Merged: one row for each series and step.
CREATE TABLE rollup_1m (LIKE rollup_fresh INCLUDING STORAGE, PRIMARY KEY (tenant, metric, start, series));
CREATE TABLE rollup_1h (LIKE rollup_fresh INCLUDING STORAGE, PRIMARY KEY (tenant, metric, start, series)) WITH (fillfactor = 70);
CREATE TABLE rollup_1d (LIKE rollup_fresh INCLUDING STORAGE, PRIMARY KEY (tenant, metric, start, series)) WITH (fillfactor = 70);

CREATE TABLE fills (
	"partition" integer NOT NULL,
	tenant      text COLLATE "C" NOT NULL,
	metric      bigint NOT NULL,
	upto_seq    bigint NOT NULL, -- 64 bits, like done_seq
	upto_idx    bigint NOT NULL,
	done_seq    bigint NOT NULL,
	done_idx    bigint NOT NULL,
	complete    boolean NOT NULL,
	updated_at  bigint,
	PRIMARY KEY (tenant, metric)
);
CREATE INDEX fills_partition ON fills ("partition");

CREATE TABLE rule_states (
	"partition" integer NOT NULL,
	tenant      text COLLATE "C" NOT NULL,
	rule_id     bigint NOT NULL,
	place       bytea NOT NULL, -- a hash of "group", which may be long
	"group"     bytea NOT NULL, -- lengths of labels as raw bytes, which are not always UTF-8
	labels      text COLLATE "C" NOT NULL,
	phase       text COLLATE "C" NOT NULL,
	since       bigint,
	incident    text COLLATE "C" NOT NULL,
	value       double precision NOT NULL,
	opened      text COLLATE "C",
	PRIMARY KEY (tenant, rule_id, place)
);
CREATE INDEX rule_states_partition ON rule_states ("partition");

CREATE TABLE transitions (
	number      bigint PRIMARY KEY,
	"partition" integer NOT NULL,
	tenant      text COLLATE "C" NOT NULL,
	id          text COLLATE "C" NOT NULL,
	incident    text COLLATE "C" NOT NULL,
	rule        text COLLATE "C" NOT NULL,
	kind        text COLLATE "C" NOT NULL,
	started_at  bigint NOT NULL,
	value       double precision NOT NULL,
	threshold   double precision NOT NULL,
	body        text COLLATE "C" NOT NULL, -- JSON, but for value and threshold: JSON has no infinity
	UNIQUE (tenant, id)
);
CREATE INDEX transitions_incident ON transitions (tenant, incident, number);

CREATE TABLE quarantine (
	"partition" integer NOT NULL,
	tenant      text COLLATE "C" NOT NULL,
	id          text COLLATE "C" NOT NULL,
	seq         bigint NOT NULL,
	idx         bigint NOT NULL,
	stage       text COLLATE "C" NOT NULL,
	reason      text COLLATE "C" NOT NULL,
	event       bytea, -- in the log's encoding, which no field of it can break
	raw         bytea,
	held_at     bigint NOT NULL,
	attempts    bigint NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX quarantine_partition ON quarantine ("partition");

-- The catalog. Small ids stay free for what is built in.
CREATE TABLE counters (
	name  text PRIMARY KEY,
	value bigint NOT NULL
);
INSERT INTO counters (name, value) VALUES ('revision', 0), ('id', 999), ('transition', 0);

CREATE TABLE resources (
	tenant     text COLLATE "C" NOT NULL,
	kind       text COLLATE "C" NOT NULL,
	slug       text COLLATE "C" NOT NULL,
	id         bigint NOT NULL UNIQUE,
	lookup     text COLLATE "C",
	body       text COLLATE "C" NOT NULL,
	revision   bigint NOT NULL,
	created_at bigint NOT NULL,
	updated_at bigint NOT NULL,
	PRIMARY KEY (tenant, kind, slug)
);
CREATE UNIQUE INDEX resources_lookup ON resources (kind, lookup);
CREATE INDEX resources_kind ON resources (kind, tenant, slug);

CREATE TABLE cursors (
	name     text COLLATE "C" PRIMARY KEY,
	position bigint NOT NULL
);

CREATE TABLE jobs (
	tenant     text COLLATE "C" NOT NULL,
	id         text COLLATE "C" NOT NULL,
	channel    text COLLATE "C" NOT NULL,
	incident   text COLLATE "C" NOT NULL,
	payload    text COLLATE "C" NOT NULL,
	state      text COLLATE "C" NOT NULL,
	attempts   bigint NOT NULL,
	next_at    bigint NOT NULL,
	error      text COLLATE "C" NOT NULL,
	created_at bigint NOT NULL,
	updated_at bigint NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX jobs_due ON jobs (next_at, created_at, tenant, id) WHERE state = 'queued';
CREATE INDEX jobs_incident ON jobs (tenant, incident, created_at, id);
CREATE INDEX jobs_tenant ON jobs (tenant, created_at, id);
