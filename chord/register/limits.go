package register

import "time"

const (
	// maxBatch is how many changes of one key a ballot round carries.
	maxBatch = 64
	// maxBatchBytes bounds the data of the changes in a round; the first change
	// always fits.
	maxBatchBytes = 1 << 20
	// perByte is what a round's data may take for each byte: 5 MB/s, to all owners.
	perByte = 200 * time.Nanosecond
)
