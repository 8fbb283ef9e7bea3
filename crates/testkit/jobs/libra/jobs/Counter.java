package libra.jobs;

import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * Counts 0, 1, 2, … for ever, by key (value modulo 4), and proves with each record that its state is that of all
 * records before.
 *
 * <p>{@code --progress PATH}: see {@link Count}. {@code --every N}: how often it tells where it is, in records (100).
 * {@code --rate N}: records per second (500). {@code --fail-after N}: fails at the Nth record since this start.
 * {@code --fail-always}: fails whenever it is opened. {@code --uid X}: of the operator with the state.
 * {@code --slow-open MS}: opens slowly. {@code --slow-while PATH}: takes 20 ms for each record while that file exists. {@code --name X}: the job's name; without it that is left to the configuration,
 * and so are the checkpoints.
 */
public final class Counter {
  private Counter() {}

  public static void main(String[] words) throws Exception {
    Arguments arguments = new Arguments(words);
    StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
    environment
        .fromSource(new Numbers(arguments.number("rate", 500)), WatermarkStrategy.noWatermarks(), "numbers")
        // More than one would each begin somewhere else.
        .setParallelism(1)
        .uid("numbers")
        .keyBy(value -> value % Count.KEYS, Types.LONG)
        .process(new Count(arguments))
        .name("count")
        .uid(arguments.text("uid", "count"))
        .sinkTo(new DiscardingSink<>())
        .name("nowhere")
        .uid("nowhere");
    if (arguments.has("name")) {
      environment.execute(arguments.text("name", ""));
    } else {
      environment.execute();
    }
  }
}
