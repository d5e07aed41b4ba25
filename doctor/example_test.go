package doctor_test

import (
	"context"
	"fmt"
	"os"

	"github.com/leat-stream/leat/doctor"
	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// In a deployment's test: the cluster is fit for the pipeline, or the test fails with
// what is wrong.
func ExampleCheck() {
	cluster, err := embedded.Start(embedded.Config{
		Topics: []embedded.Topic{{Name: "orders"}, {Name: "orders.enriched", Config: map[string]string{"compression.type": "gzip"}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()

	p := pipeline.New("enrich")
	pipeline.To(pipeline.From(p, "orders", serde.Bytes()), "orders.enriched", serde.Bytes())
	settings := doctor.Of(p, kafka.Config{Brokers: cluster.Brokers()})
	settings.Accept = []string{doctor.CheckReplication} // a cluster of one broker

	report, err := doctor.Check(context.Background(), settings)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Err())
	// Output:
	// the cluster is not sound: compression of orders.enriched: compression.type=gzip, but the producer sends lz4: the broker compresses every batch again
}

func ExampleReport_WriteTable() {
	report := &doctor.Report{Findings: []doctor.Finding{
		{Check: doctor.CheckBrokers, Subject: "kafka-1:9092", Verdict: doctor.OK, Text: "broker 1 answers"},
		{Check: doctor.CheckMinISR, Subject: "orders", Verdict: doctor.NotVisible, Text: "min.insync.replicas cannot be seen", Change: "grant DescribeConfigs"},
		{Check: doctor.CheckTopics, Subject: "orders.dlq", Verdict: doctor.Fault, Text: "it does not exist", Change: "create it"},
	}}
	_ = report.WriteTable(os.Stdout)
	// Output:
	// VERDICT      CHECK    SUBJECT     FINDING
	// fault        topics   orders.dlq  it does not exist
	//                                   → create it
	// not visible  min-isr  orders      min.insync.replicas cannot be seen
	//                                   → grant DescribeConfigs
	// ok: brokers
}
