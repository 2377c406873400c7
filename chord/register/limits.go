package register

const (
	// maxBatch is how many changes of one key a ballot round carries.
	maxBatch = 64
	// maxBatchBytes bounds the data of the changes in a round; the first change
	// always fits.
	maxBatchBytes = 1 << 20
)
