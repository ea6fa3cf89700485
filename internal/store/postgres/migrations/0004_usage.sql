-- What commits count of events, for each tenant and hour (since 1970). A tenant is of one partition of the log. The row of this hour is changed by each commit: there
-- is room in its page for the next version.
CREATE TABLE events_usage (
	"partition" integer NOT NULL,
	tenant      text COLLATE "C" NOT NULL,
	hour        bigint NOT NULL,
	events      bigint NOT NULL,
	bytes       bigint NOT NULL,
	PRIMARY KEY (tenant, hour)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX events_usage_hour ON events_usage (hour);

-- The catalog's book of usage.
CREATE TABLE usage_book (
	tenant        text COLLATE "C" NOT NULL,
	hour          bigint NOT NULL,
	events        bigint NOT NULL DEFAULT 0,
	bytes         bigint NOT NULL DEFAULT 0,
	series        bigint NOT NULL DEFAULT 0,
	queries       bigint NOT NULL DEFAULT 0,
	notifications bigint NOT NULL DEFAULT 0,
	revision      bigint NOT NULL DEFAULT 1, -- counts changes of what is before it
	billed        bigint NOT NULL DEFAULT 0, -- the revision that the billing system was told
	PRIMARY KEY (tenant, hour)
) WITH (fillfactor = 70);
CREATE INDEX usage_book_unbilled ON usage_book (hour, tenant) WHERE revision > billed;

GRANT SELECT ON events_usage TO pulsestream_tenant;
GRANT SELECT, INSERT, UPDATE ON events_usage TO pulsestream_installation;
-- A tenant's transaction counts what it has delivered.
GRANT SELECT, INSERT, UPDATE ON usage_book TO pulsestream_tenant, pulsestream_installation;

ALTER TABLE events_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE events_usage FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_book ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_book FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON events_usage TO pulsestream_tenant
	USING ((SELECT current_user = 'pulsestream_tenant') AND tenant = (SELECT current_setting('pulsestream.tenant', true)));
CREATE POLICY of_tenant ON usage_book TO pulsestream_tenant
	USING ((SELECT current_user = 'pulsestream_tenant') AND tenant = (SELECT current_setting('pulsestream.tenant', true)));
CREATE POLICY of_partition ON events_usage TO pulsestream_installation USING ((SELECT current_user = 'pulsestream_installation'))
	WITH CHECK ((SELECT current_user = 'pulsestream_installation')
		AND (SELECT nullif(current_setting('pulsestream.partition', true), '')::int) IN ("partition", -1));
CREATE POLICY of_installation ON usage_book TO pulsestream_installation USING ((SELECT current_user = 'pulsestream_installation'));
