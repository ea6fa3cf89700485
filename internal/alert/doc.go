// Package alert decides: rules, their state machine, incidents.
package alert
