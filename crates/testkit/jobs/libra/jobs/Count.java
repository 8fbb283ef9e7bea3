package libra.jobs;

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/**
 * Counts the records of each key. As the records are 0, 1, 2, … the count after record v is v / 4 + 1: whatever was lost
 * or counted twice breaks that.
 *
 * <p>Lines of the progress file: {@code FIRST v job} and {@code LAST v job}, the first and the last record of a start
 * (no last one when the process is killed); {@code AT v job} now and then; {@code BROKEN v job} when the count is wrong.
 */
final class Count extends KeyedProcessFunction<Long, Long, Long> {
  static final long KEYS = 4;
  private static final long SLOW_MS = 20;
  private static final long serialVersionUID = 1;

  private final Lines progress;
  private final long every;
  private final long failAfter;
  private final boolean failAlways;
  private final long slowOpen;
  private final String slowWhile;

  private transient ValueState<Long> count;
  private transient String job;
  private transient long seen;
  private transient long last;

  Count(Arguments arguments) {
    progress = new Lines(arguments.text("progress", ""));
    every = arguments.number("every", 100);
    failAfter = arguments.number("fail-after", Long.MAX_VALUE);
    failAlways = arguments.has("fail-always");
    slowOpen = arguments.number("slow-open", 0);
    slowWhile = arguments.text("slow-while", "");
  }

  @Override
  public void open(OpenContext context) throws Exception {
    if (failAlways) {
      throw new IllegalStateException("it fails always, on purpose");
    }
    Thread.sleep(slowOpen);
    count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
    job = getRuntimeContext().getJobInfo().getJobId().toString();
  }

  @Override
  public void processElement(Long value, Context context, Collector<Long> out) throws Exception {
    if (!slowWhile.isEmpty() && Files.exists(Path.of(slowWhile))) {
      Thread.sleep(SLOW_MS);
    }
    Long before = count.value();
    long now = before == null ? 1 : before + 1;
    if (now != value / KEYS + 1) {
      progress.append("BROKEN " + value + " " + job + " count " + now);
    }
    count.update(now);
    last = value;
    if (++seen == 1) {
      progress.append("FIRST " + value + " " + job);
    }
    if (seen >= failAfter) {
      throw new IllegalStateException("it fails after " + failAfter + " records, on purpose");
    }
    if (seen % every == 0) {
      progress.append("AT " + value + " " + job);
    }
    out.collect(value);
  }

  @Override
  public void close() throws Exception {
    if (seen > 0) {
      progress.append("LAST " + last + " " + job);
    }
  }
}
