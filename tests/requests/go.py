"""The same, asked of Go itself: its JSON decoder on the fields that Ollama's requests have."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

GO = shutil.which("go")

PROGRAM = """
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
)

type request struct {
	Model    string         `json:"model"`
	Messages any            `json:"messages,omitempty"`
	Options  map[string]any `json:"options"`
}

func main() {
	in, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var size uint32
		if binary.Read(in, binary.BigEndian, &size) != nil {
			return
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(in, body); err != nil {
			panic(err)
		}
		var asked request
		if err := json.NewDecoder(bytes.NewReader(body)).Decode(&asked); err != nil {
			out.Encode(nil)
		} else {
			out.Encode(asked.Model)
		}
	}
}
"""


def build(folder: Path) -> Path:
    """Compile the program, which takes some seconds."""
    source, program = folder / "main.go", folder / "decode"
    source.write_text(PROGRAM)
    command = [GO or "go", "build", "-o", str(program), str(source)]
    subprocess.run(command, cwd=folder, check=True, timeout=300, capture_output=True, text=True)
    return program


def models(program: Path, bodies: Sequence[bytes]) -> list[str | None]:
    """Return what Go makes of each body: the model, or None when it refuses it."""
    said = b"".join(len(body).to_bytes(4) + body for body in bodies)
    done = subprocess.run([program], input=said, capture_output=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]
