package libra.jobs;

/** A program that fails before it has a job. */
public final class BadMain {
  private BadMain() {}

  public static void main(String[] words) {
    throw new IllegalArgumentException("no topic is named, on purpose");
  }
}
