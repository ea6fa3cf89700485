// The shapes of the public contract, as far as the page uses them. Names are the contract's.

export type Labels = Record<string, string>;
export type Point = [unixMs: number, value: number | null];
export interface Series {
  labels: Labels;
  points: Point[];
  total?: number | null;
}

/** Who is signed in, by whatever means. */
export interface SessionInfo {
  id?: string;
  tenant: string;
  tenant_name?: string;
  subject: string;
  name: string;
  role: string;
  permissions: string[];
  operator?: boolean;
  method: "password" | "oidc" | "saml" | "key" | "token";
  expires_at?: string;
}

export interface SignInOptions {
  tenant: string;
  password: boolean;
  providers: { slug: string; name: string; type: string; url: string }[] | null;
}

export const ROLES = ["owner", "admin", "editor", "viewer", "ingest"] as const;

export interface Grant {
  permission: string;
  description: string;
  roles: string[];
  operator?: boolean;
}

export interface Key {
  id: string;
  name: string;
  role: string;
  scopes?: string[];
  operator?: boolean;
  expires_at?: string;
  created_by: string;
  created_at: string;
  last_used_at?: string;
  secret?: string;
}

export interface Invitation {
  token: string;
  url: string;
  expires_at: string;
}

export interface Member {
  id: string;
  email: string;
  name: string;
  role: string;
  state: "invited" | "active" | "disabled";
  groups?: string[] | null;
  identities?: { provider: string; issuer: string; subject: string }[] | null;
  external_id?: string;
  password?: boolean;
  totp?: boolean;
  created_by: string;
  created_at: string;
  last_seen_at?: string;
  invitation?: Invitation;
}

export interface SessionEntry {
  id: string;
  member: string;
  name?: string;
  method: string;
  created_at: string;
  last_seen_at?: string;
  expires_at?: string;
  address?: string;
  user_agent?: string;
  current?: boolean;
}

export interface Provider {
  slug: string;
  name: string;
  type: "oidc" | "saml";
  issuer?: string;
  client_id?: string;
  client_secret?: string;
  scopes?: string[] | null;
  groups_claim?: string;
  require_verified_email?: boolean;
  metadata_url?: string;
  metadata_xml?: string;
  groups_attribute?: string;
  roles?: Record<string, string> | null;
  default_role?: string;
}

export interface AuditEntry {
  seq: number;
  at: string;
  actor: { subject: string; name?: string; address?: string; user_agent?: string };
  action: string;
  target: { kind: string; slug: string };
  before: Record<string, unknown> | null;
  after: Record<string, unknown> | null;
  request_id?: string;
  previous: string;
  hash: string;
  /** How the entry is not as it was written. */
  wrong?: string;
}

export interface AuditCheck {
  ok: boolean;
  entries: number;
  head?: { seq: number; hash: string };
  broken?: { seq: number; reason: string }[] | null;
}

export interface UsageNumbers {
  events: number;
  bytes: number;
  series: number;
  queries: number;
  notifications: number;
}

export interface Usage {
  from: string;
  to: string;
  step: string;
  data: (UsageNumbers & { start: string })[] | null;
  total: UsageNumbers;
  quotas?: Record<string, { limit: number | null; used: number; resets_at?: string }> | null;
}

export interface Vendor {
  vendor: string;
  name: string;
  docs: string;
  secret_hint: string;
  metrics: string[];
}

export interface Source {
  slug: string;
  name: string;
  vendor: string;
  url: string;
  created_at: string;
  updated_at: string;
}

export type SourceStatus = "ok" | "degraded" | "down" | "idle";

export interface SourceOverview {
  source: string;
  name: string;
  vendor: string;
  status: SourceStatus;
  reason: string;
  events_per_minute: number;
  error_share: number | null;
  last_event_at: string | null;
  sparkline: [number, number][];
  incidents: number;
}

export interface Overview {
  data: SourceOverview[];
  totals: { events_per_minute: number; open_incidents: number };
}

export interface PulseEvent {
  id: string;
  source: string;
  type: string;
  subject?: string;
  time: string;
  received_at?: string;
  data?: unknown;
  [extension: string]: unknown;
}

export interface Metric {
  slug: string;
  name: string;
  description?: string;
  unit?: string;
  event_types?: string[];
  filter?: string;
  value?: string;
  dimensions?: Record<string, string>;
  builtin?: boolean;
  vendor?: string;
  fill?: { state: "pending" | "running" | "done"; progress: number };
  series_dropped?: number;
}

export const AGGS = [
  "count",
  "sum",
  "avg",
  "min",
  "max",
  "last",
  "unique",
  "rate",
  "p50",
  "p90",
  "p95",
  "p99",
] as const;
export type Agg = (typeof AGGS)[number];

export interface QueryResult {
  metric: string;
  agg: Agg;
  unit?: string;
  from: string;
  to: string;
  step: string;
  series: Series[];
}

export interface Condition {
  type: string;
  op?: string;
  value?: number;
  clear?: number | null;
  [other: string]: unknown;
}

export interface Rule {
  slug: string;
  name: string;
  metric: string;
  agg: Agg;
  group_by?: string[];
  where?: Labels;
  window: string;
  condition: Condition;
  for?: string;
  severity: string;
  channels?: string[];
  no_data?: string;
  labels?: Labels;
  summary?: string;
  enabled?: boolean;
}

export interface TimelineEntry {
  at: string;
  kind: string;
  text: string;
  by: string;
}

export interface Incident {
  id: string;
  rule: string;
  rule_name: string;
  labels: Labels;
  state: "firing" | "resolved";
  severity: string;
  started_at: string;
  resolved_at: string | null;
  value: number | null;
  threshold?: number | null;
  explanation: string;
  summary?: string;
  acknowledged_by?: string;
  acknowledged_at?: string | null;
  timeline?: TimelineEntry[];
}

export interface Channel {
  slug: string;
  name: string;
  type: string;
  config: Record<string, unknown>;
  secret?: string;
}

export interface ChannelTest {
  ok: boolean;
  status?: number;
  duration_ms?: number;
  detail?: string;
}

export interface FieldError {
  location: string;
  message: string;
  code?: string;
}

export interface Problem {
  type?: string;
  title?: string;
  status: number;
  detail?: string;
  errors?: FieldError[];
  code?: string;
  request_id?: string;
}
