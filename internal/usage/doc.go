// Package usage says what tenants have used and what they may still use.
//
//	                     commit (with the events)          Finish (with the job)
//	worker ────────────► store.Events.Usage    notifier ─► store.UsageBook ◄── Meter: queries, every few seconds
//	                         │      closed hours: Keeper         ▲   │
//	                         ├───────────────────────────────────┘   │
//	                         └──────────────► Ledger ◄───────────────┘
//	                                            │
//	         the API, quotas of the door (Quotas), a billing system
//
// Events and bytes are counted in the transaction that stores the events, by the hour of receipt that stands in the log; the store of events is the
// authority for them. The catalog's book has a copy of hours that are over, which outlives the store of events, and is never made less. What an hour has is the
// larger of the two.
package usage
