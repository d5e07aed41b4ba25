import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** Prints what a worker says of itself, in the line that all workers end with. */
final class Meter {
    private Meter() {}

    static void report(long records, double seconds) throws IOException {
        // Start of the JVM, its compiler and its collector included, as for any process.
        double cpu = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getProcessCpuTime() / 1e3;
        System.out.printf(Locale.ROOT, "records=%d seconds=%.3f cpu_us_per_record=%.3f peak_rss_mib=%.1f%n",
            records, seconds, cpu / Math.max(1, records), peakMiB());
    }

    /** The largest resident set, 0 where the system does not tell. */
    private static double peakMiB() throws IOException {
        Path status = Path.of("/proc/self/status");
        if (!Files.exists(status)) return 0;
        for (String line : Files.readAllLines(status))
            if (line.startsWith("VmHWM:")) return Long.parseLong(line.replaceAll("[^0-9]", "")) / 1024.0;
        return 0;
    }
}
