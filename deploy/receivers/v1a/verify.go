// Verifies the `v1a` signature of a webhook: ed25519, with nothing but Go's own library.
//
// Take `Verify` into your program. As a program it reads {"public_keys", "headers", "body"} from its input and ends with 3
// when it refuses; the tests run it so.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const tolerance = 300 * time.Second

// Verify takes public keys (`whpk_…`, several while they are exchanged), headers with names in lower case, and the body as
// it came.
func Verify(publicKeys []string, headers map[string]string, body []byte) error {
	id, timestamp := headers["webhook-id"], headers["webhook-timestamp"]
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if id == "" || err != nil {
		return errors.New("a header is missing or malformed")
	}
	if age := time.Since(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return errors.New("it is too old, or one of the two clocks is wrong")
	}
	signed := append([]byte(id+"."+timestamp+"."), body...)
	for _, entry := range strings.Split(headers["webhook-signature"], " ") {
		text, isV1a := strings.CutPrefix(entry, "v1a,")
		signature, err := base64.StdEncoding.DecodeString(text)
		if !isV1a || err != nil {
			continue
		}
		for _, text := range publicKeys {
			key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whpk_"))
			if err == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, signed, signature) {
				return nil
			}
		}
	}
	return errors.New("no v1a signature matches")
}

func main() {
	var given struct {
		PublicKeys []string          `json:"public_keys"`
		Headers    map[string]string `json:"headers"`
		Body       string            `json:"body"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		panic(err)
	}
	if err := Verify(given.PublicKeys, given.Headers, []byte(given.Body)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}
