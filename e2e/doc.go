// Package e2e drives the real binary from outside: it starts servers, sends them events and webhooks, kills them, and looks at
// what they answer. Tests speak through package client only, and with plain HTTP where a vendor would.
//
// PULSESTREAM_BIN is the absolute path of the binary; without it, the tests build one. Data made by others lies beside the
// checkout in shared/data, or where PULSESTREAM_SHARED says; tests that need it are skipped where it is missing, and small fixtures
// of our own cover the same ground.
package e2e
