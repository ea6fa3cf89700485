ALTER TABLE resources ADD COLUMN used_at bigint NOT NULL DEFAULT 0;

-- The audit log: a chain for each tenant, and one under "*". Nobody may change or remove an entry.
CREATE TABLE audit_entries (
	tenant text COLLATE "C" NOT NULL,
	seq    bigint NOT NULL,
	at     bigint NOT NULL,
	actor  text COLLATE "C" NOT NULL,
	action text COLLATE "C" NOT NULL,
	kind   text COLLATE "C" NOT NULL,
	slug   text COLLATE "C" NOT NULL,
	text   text COLLATE "C" NOT NULL,
	hash   text COLLATE "C" NOT NULL,
	PRIMARY KEY (tenant, seq)
);
CREATE INDEX audit_entries_actor ON audit_entries (tenant, actor, seq);
CREATE INDEX audit_entries_target ON audit_entries (tenant, kind, slug, seq);
CREATE INDEX audit_entries_at ON audit_entries (tenant, at);

-- Where each chain ends. Writers of one chain queue up at its row, and at no other's.
CREATE TABLE audit_heads (
	tenant text COLLATE "C" PRIMARY KEY,
	seq    bigint NOT NULL,
	hash   text COLLATE "C" NOT NULL
);

GRANT SELECT, INSERT ON audit_entries TO pulsestream_tenant, pulsestream_installation;
GRANT SELECT, INSERT, UPDATE ON audit_heads TO pulsestream_tenant, pulsestream_installation;

DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['audit_entries', 'audit_heads']
	LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY of_tenant ON %I TO pulsestream_tenant
			USING ((SELECT current_user = ''pulsestream_tenant'') AND tenant = (SELECT current_setting(''pulsestream.tenant'', true)))', t);
		EXECUTE format('CREATE POLICY of_installation ON %I TO pulsestream_installation USING ((SELECT current_user = ''pulsestream_installation''))', t);
	END LOOP;
END
$$;
