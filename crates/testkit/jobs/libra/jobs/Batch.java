package libra.jobs;

import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * Adds up the numbers from 1 to N, and ends. Run as BATCH it tells one line, the sum; run as STREAMING a line for each
 * number.
 *
 * <p>{@code --out PATH}: the file to which {@code SUM s} is appended. {@code --records N} (10). {@code --pause-ms N}:
 * between two records (0).
 */
public final class Batch {
  private Batch() {}

  public static void main(String[] words) throws Exception {
    Arguments arguments = new Arguments(words);
    Lines out = new Lines(arguments.text("out", ""));
    long pause = arguments.number("pause-ms", 0);
    StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
    environment
        .fromSequence(1, arguments.number("records", 10))
        .map(
            value -> {
              Thread.sleep(pause);
              return value;
            })
        .returns(Types.LONG)
        .keyBy(value -> 0L, Types.LONG)
        .reduce(Long::sum)
        .map(
            sum -> {
              out.append("SUM " + sum);
              return sum;
            })
        .returns(Types.LONG)
        .sinkTo(new DiscardingSink<>());
    environment.execute();
  }
}
