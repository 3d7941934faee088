"""The same, asked of Go itself: its net/http and encoding/json, with the fields and the steps that Ollama has."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

GO = shutil.which("go") or shutil.which("/usr/local/go/bin/go")

PROGRAM = """
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
)

type request struct {
	Model       string         `json:"model"`
	Name        string         `json:"name"`
	Source      string         `json:"source"`
	Destination string         `json:"destination"`
	Messages    any            `json:"messages,omitempty"`
	Options     map[string]any `json:"options"`
}

const form, models = "/v1/audio/transcriptions", "/v1/models/"

func main() {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), json.NewEncoder(os.Stdout)
	for {
		r, err := http.ReadRequest(in)
		if err == io.EOF {
			return
		} else if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		out.Encode(taken(r, body))
	}
}

func taken(r *http.Request, body []byte) any {
	if strings.HasPrefix(r.URL.Path, models) {
		if name := strings.TrimPrefix(r.URL.Path, models); !strings.Contains(name, "/") {
			return name
		}
		return nil
	}
	if r.URL.Path == form {
		if r.ParseMultipartForm(25<<20) != nil {
			return nil
		}
		return r.FormValue("model")
	}
	var cloud map[string]json.RawMessage
	if strings.HasPrefix(r.URL.Path, "/v1/") && json.Unmarshal(body, &cloud) == nil {
		var model string
		json.Unmarshal(cloud["model"], &model)
		if strings.HasSuffix(model, "-cloud") || strings.HasSuffix(model, ":cloud") {
			return model
		}
	}
	var asked request
	if json.NewDecoder(bytes.NewReader(body)).Decode(&asked) != nil {
		return nil
	}
	switch r.URL.Path {
	case "/api/copy":
		return asked.Source
	case "/api/show", "/api/pull", "/api/push", "/api/create", "/api/delete":
		if asked.Model == "" {
			return asked.Name
		}
	}
	return asked.Model
}
"""


def build(folder: Path) -> Path:
    """Compile the program, which takes some seconds."""
    source, program = folder / "main.go", folder / "decode"
    source.write_text(PROGRAM)
    command = [GO or "go", "build", "-o", str(program), str(source)]
    subprocess.run(command, cwd=folder, check=True, timeout=300, capture_output=True, text=True)
    return program


def models(program: Path, requests: Sequence[bytes]) -> list[str | None]:
    """Return what Go makes of each request, written as HTTP/1.1: the model, or None when it refuses it."""
    done = subprocess.run([program], input=b"".join(requests), capture_output=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]
