// Package ui serves the web page, which is built from web/ by Vite into dist/ and embedded into the binary.
//
// The page itself lives at / and below /app/; the paths of the API, of /metrics and of /docs belong to others. Everything is read,
// hashed and compressed once when the handler is made, so that a request costs a map lookup and a write.
package ui
