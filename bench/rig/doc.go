// Package rig runs a server in a process of its own, so that its CPU time, its memory and its files are its own, and reads
// them from outside.
package rig
