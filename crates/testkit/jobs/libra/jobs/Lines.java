package libra.jobs;

import java.io.IOException;
import java.io.Serializable;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** A file to which jobs append lines, each in one write; none when the path is empty. */
final class Lines implements Serializable {
  private static final long serialVersionUID = 1;
  private final String path;

  Lines(String path) {
    this.path = path;
  }

  void append(String line) throws IOException {
    if (path.isEmpty()) {
      return;
    }
    try {
      Files.writeString(Path.of(path), line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    } catch (NoSuchFileException gone) {
      // The test that wanted to know has ended. A failure while a task is closed would end its TaskManager.
    }
  }
}
