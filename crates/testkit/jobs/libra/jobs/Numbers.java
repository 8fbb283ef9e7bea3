package libra.jobs;

import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;

/** 0, 1, 2, … without an end, so many per second. */
final class Numbers extends DataGeneratorSource<Long> {
  private static final long serialVersionUID = 1;

  Numbers(long rate) {
    super(number -> number, Long.MAX_VALUE, RateLimiterStrategy.perSecond(rate), Types.LONG);
  }

  /** Its parent counts to a very large number and says that it ends. */
  @Override
  public Boundedness getBoundedness() {
    return Boundedness.CONTINUOUS_UNBOUNDED;
  }
}
