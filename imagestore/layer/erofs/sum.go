package erofs

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// sumName is the file beside a stack by which damage is found before it is
// mounted: EROFS itself has a checksum of its first block only.
const sumName = "stack.json"

// castagnoli is the polynomial that processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stackSum is of the whole of stack.erofs. It is against a bad disk, not against people.
type stackSum struct {
	Size   int64  `json:"size"`
	CRC32C uint32 `json:"crc32c"`
}

// writeSum sums up the stack that was made in dir.
func writeSum(dir string) error {
	s, err := sumOf(dir)
	if err != nil {
		return err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, sumName), append(b, '\n'), 0o600)
}

// checkSum reads the whole stack: a millisecond for an image of tens of thousands
// of files, once for each stack that is mounted.
func checkSum(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, sumName))
	if err != nil {
		return err
	}
	var want stackSum
	if err := json.Unmarshal(b, &want); err != nil {
		return fmt.Errorf("%s: %w", sumName, err)
	}
	got, err := sumOf(dir)
	if err == nil && got != want {
		err = fmt.Errorf("%s is %+v, not %+v", stackFile, got, want)
	}
	return err
}

func sumOf(dir string) (stackSum, error) {
	f, err := os.Open(filepath.Join(dir, stackFile))
	if err != nil {
		return stackSum{}, err
	}
	defer f.Close()
	h := crc32.New(castagnoli)
	n, err := io.Copy(h, f)
	return stackSum{n, h.Sum32()}, err
}
