package libra.jobs;

import java.util.HashMap;
import java.util.Map;

/** {@code --name value …}, and flags without a value. */
final class Arguments {
  private final Map<String, String> values = new HashMap<>();

  Arguments(String[] arguments) {
    for (int at = 0; at < arguments.length; at++) {
      boolean flag = at + 1 == arguments.length || arguments[at + 1].startsWith("--");
      values.put(arguments[at], flag ? "" : arguments[++at]);
    }
  }

  String text(String name, String otherwise) {
    return values.getOrDefault("--" + name, otherwise);
  }

  long number(String name, long otherwise) {
    return Long.parseLong(text(name, Long.toString(otherwise)));
  }

  boolean has(String name) {
    return values.containsKey("--" + name);
  }
}
