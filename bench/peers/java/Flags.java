import java.util.HashMap;
import java.util.Map;

/** Flags as the other workers take them: -name value. */
final class Flags {
    private final Map<String, String> values = new HashMap<>();

    Flags(String[] args) {
        for (int i = 0; i < args.length; i += 2) {
            if (!args[i].startsWith("-") || i + 1 == args.length) throw new IllegalArgumentException("unexpected argument " + args[i]);
            values.put(args[i].substring(1), args[i + 1]);
        }
    }

    String required(String name) {
        String value = values.get(name);
        if (value == null) throw new IllegalArgumentException("-" + name + " is required");
        return value;
    }

    String or(String name, String otherwise) { return values.getOrDefault(name, otherwise); }

    /** A duration in milliseconds, written as Go does: 100ms or 2s. */
    long millis(String name, long otherwise) {
        String text = values.get(name);
        if (text == null) return otherwise;
        if (text.endsWith("ms")) return Long.parseLong(text.substring(0, text.length() - 2));
        if (text.endsWith("s")) return Math.round(1000 * Double.parseDouble(text.substring(0, text.length() - 1)));
        throw new IllegalArgumentException("-" + name + " is given in ms or s, not as " + text);
    }
}
