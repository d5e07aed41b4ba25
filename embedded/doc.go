// Package embedded runs Kafka and a Schema Registry inside the calling process, for examples, tests
// and development: nothing to install, nothing to download, ready in milliseconds.
//
// Both speak the real protocols on real sockets of 127.0.0.1, so every Kafka client and every
// registry client can talk to them, from other processes too. Kafka is franz-go's kfake: consumer
// groups, transactions, SASL, TLS and ACLs work, and its faults can be injected (see
// [Cluster.Fake]). The registry is franz-go's srfake.
//
// They are fakes and no place for data that matters. kfake ends a transaction in one step and its
// partitions have no followers, so it never shows the races of a failover; srfake never refuses a
// schema as incompatible; neither checks the names of topic settings. What depends on these needs
// a real cluster.
package embedded
