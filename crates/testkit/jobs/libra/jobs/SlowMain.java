package libra.jobs;

/** Thinks for {@code --ms N} before it submits a {@link Counter}, whose arguments it takes as well. */
public final class SlowMain {
  private SlowMain() {}

  public static void main(String[] words) throws Exception {
    Thread.sleep(new Arguments(words).number("ms", 10_000));
    Counter.main(words);
  }
}
