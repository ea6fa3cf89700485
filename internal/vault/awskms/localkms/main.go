// Command localkms serves local-kms, a KMS by others, on a free port of 127.0.0.1, for the tests of awskms: make kms-check. It says where on its standard output, and
// lives until its standard input ends.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/nsmithuk/local-kms/src"
	"github.com/nsmithuk/local-kms/src/config"
	"github.com/nsmithuk/local-kms/src/data"
)

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: localkms DIR"))
	}
	config.DatabasePath, config.AWSAccountId, config.AWSRegion = os.Args[1], "111122223333", "eu-central-1"
	database := data.NewDatabase(config.DatabasePath)
	defer database.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	fmt.Println("http://" + l.Addr().String())
	go func() {
		s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { src.HandleRequest(w, r, database) })}
		fail(s.Serve(l))
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "localkms:", err)
	os.Exit(1)
}
