// Tlog-interop-witness verifies the ML-DSA-44 and Ed25519 signatures of a checkpoint with
// github.com/transparency-dev/formats, which shares no code with tlog, and makes an ML-DSA-44 cosignature.
//
// Usage: tlog-interop-witness -name NAME FILE VKEY...
//
// FILE is a signed checkpoint. Every VKEY must have signed it. The report on standard output is JSON: how many
// signatures were verified, a new ML-DSA-44 verifier key of that name, and the checkpoint cosigned with it. Exit
// status 1: something did not verify.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// Report is what was verified and made.
type Report struct {
	Verified int    `json:"verified"`
	Witness  string `json:"witness"`
	Cosigned string `json:"cosigned"`
}

func main() {
	name := flag.String("name", "", "cosign under this key `name`")
	flag.Parse()
	if flag.NArg() < 2 || *name == "" {
		fmt.Fprintln(os.Stderr, "usage: tlog-interop-witness -name NAME FILE VKEY...")
		os.Exit(2)
	}
	report, err := run(*name, flag.Arg(0), flag.Args()[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(report)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlog-interop-witness:", err)
		os.Exit(1)
	}
}

func run(name, file string, vkeys []string) (*Report, error) {
	signed, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var verifiers []note.Verifier
	for _, vkey := range vkeys {
		verifier, err := fnote.NewVerifier(vkey)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", vkey, err)
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return nil, err
	}
	if len(opened.Sigs) != len(vkeys) {
		return nil, fmt.Errorf("%d of %d keys have signed", len(opened.Sigs), len(vkeys))
	}
	secret, vkey, err := fnote.GenerateMLDSAKey(name)
	if err != nil {
		return nil, err
	}
	signer, err := fnote.NewMLDSASigner(secret)
	if err != nil {
		return nil, err
	}
	cosigned, err := note.Sign(opened, signer)
	return &Report{len(opened.Sigs), vkey, string(cosigned)}, err
}
