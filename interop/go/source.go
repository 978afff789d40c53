package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	fetchTimeout = 10 * time.Second
	maxResource  = 256 * (2 + 1<<16)
)

// source is where the resources of a log are read, each by the name that tlog-tiles gives it.
type source interface {
	read(name string) ([]byte, error)
}

// openSource returns the directory, or the server where the location is a URL.
func openSource(location string) source {
	if strings.HasPrefix(location, "http://") {
		return &server{base: strings.TrimSuffix(location, "/"), client: &http.Client{Timeout: fetchTimeout}}
	}
	return exported(location)
}

// exported is the directory of an exported log.
type exported string

func (e exported) read(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(e), name))
}

// server is a log that is served over HTTP.
type server struct {
	base   string
	client *http.Client
}

func (s *server) read(name string) ([]byte, error) {
	response, err := s.client.Get(s.base + "/" + name)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: the server answers %s", name, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResource+1))
	if err == nil && len(body) > maxResource {
		err = fmt.Errorf("%s: the answer has more than %d bytes", name, maxResource)
	}
	return body, err
}
