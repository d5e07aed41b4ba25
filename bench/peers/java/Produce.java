import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Writes the benchmark's records with Kafka's own producer. */
public final class Produce {
    public static void main(String[] args) throws Exception {
        Flags flags = new Flags(args);
        String topic = flags.required("topic");
        long records = Long.parseLong(flags.required("records"));
        Properties p = new Properties();
        p.put("bootstrap.servers", flags.required("brokers"));
        p.put("client.id", "leat-bench-java");
        p.put("acks", "all");
        p.put("enable.idempotence", "true");
        Settings.producing(p, "", flags);

        Records.value(0); // makes all bodies before the clock starts, as elsewhere
        long began = System.nanoTime();
        AtomicLong written = new AtomicLong();
        Callback done = (metadata, error) -> {
            if (error != null) {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
            }
            written.incrementAndGet();
        };
        double seconds;
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (long id = 0; id < records; id++) producer.send(new ProducerRecord<>(topic, Records.key(id), Records.value(id)), done);
            producer.flush();
            seconds = (System.nanoTime() - began) / 1e9;
        }
        Meter.report(written.get(), seconds);
    }
}
