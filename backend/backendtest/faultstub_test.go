package backendtest

var txnFaults, txFaults, watchFaults, sessionFaults, lockFaults, fenceFaults, expireFaults []fault
