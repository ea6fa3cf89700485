package bus

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

// What JetStream knows of a stream is in meta.inf, as JSON, with a checksum in meta.sum. When the two do not fit, it passes the stream over, and one that is
// made in its place begins empty. So a copy is kept in the identity.
const (
	metaFile = server.JetStreamMetaFile
	metaSum  = server.JetStreamMetaFileSum
)

func streamName(p int) string  { return "EVENTS_" + strconv.Itoa(p) }
func subjectName(p int) string { return "events." + strconv.Itoa(p) }

// streamDir is where the embedded server keeps a stream.
func streamDir(dir string, p int) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", streamName(p))
}

// Partitions is how many partitions the log in a directory has, 0 when there is none. It is told by their folders, of which some may be gone.
func Partitions(dir string) (n int) {
	for p := range maxPartitions {
		if _, err := os.Stat(streamDir(dir, p)); err == nil {
			n = p + 1
		} else if p > n+256 {
			break
		}
	}
	return n
}

var errMeta = errors.New("the description of the stream is damaged")

// readMeta reads a stream's description.
func readMeta(dir, stream string) (raw []byte, info server.FileStreamInfo, err error) {
	raw, err = os.ReadFile(filepath.Join(dir, metaFile))
	if err != nil {
		return nil, info, err
	}
	sum, err := os.ReadFile(filepath.Join(dir, metaSum))
	if err != nil {
		return nil, info, err
	}
	if string(sum) != metaChecksum(stream, raw) {
		return nil, info, errMeta
	}
	return raw, info, json.Unmarshal(raw, &info)
}

func metaChecksum(stream string, raw []byte) string {
	digest := indexHash(stream)
	_, _ = digest.Write(raw)
	return hex.EncodeToString(digest.Sum(nil))
}

func writeMeta(dir, stream string, raw []byte) error {
	if err := makeDir(filepath.Join(dir, "msgs")); err != nil {
		return err
	}
	return errors.Join(replaceFile(filepath.Join(dir, metaFile), raw), replaceFile(filepath.Join(dir, metaSum), []byte(metaChecksum(stream, raw))))
}

// settleMeta makes sure that JetStream finds the stream's description, with the incarnation that holds. It does nothing for a stream that has none yet and of
// which none is known. It says what it had to mend.
func settleMeta(dir, stream, incarnation string, known []byte) (mended string, err error) {
	raw, info, err := readMeta(dir, stream)
	switch {
	case err == nil && info.Metadata[metaIncarnation] == incarnation:
		return "", nil
	case err == nil: // a new incarnation was minted
	case len(known) > 0:
		if json.Unmarshal(known, &info) != nil {
			return "", errMeta
		}
		mended = fmt.Sprintf("the description of the stream could not be read (%v); it was written anew", err)
		raw = known
	default:
		// JetStream makes the description anew with the stream, unless half of one is there; what is in the blocks stays.
		if !errors.Is(err, os.ErrNotExist) { // else the first start was cut short
			mended = fmt.Sprintf("the description of the stream could not be read (%v); it is made anew", err)
		}
		return mended, errors.Join(removeIfThere(filepath.Join(dir, metaFile)), removeIfThere(filepath.Join(dir, metaSum)))
	}
	if info.Metadata[metaIncarnation] != incarnation {
		if info.Metadata == nil {
			info.Metadata = map[string]string{}
		}
		info.Metadata[metaIncarnation] = incarnation
		if raw, err = json.Marshal(info); err != nil {
			return mended, err
		}
	}
	return mended, writeMeta(dir, stream, raw)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
