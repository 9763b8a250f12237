import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Appends records of 60 bytes to a file through a mapping. */
public class AppendMapped {
    public static void main(String[] args) throws Exception {
        int count = Integer.parseInt(args[1]);
        byte[] record = "x".repeat(59).concat("\n").getBytes();
        try (FileChannel target = FileChannel.open(Path.of(args[0]),
                StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer mapped =
                    target.map(FileChannel.MapMode.READ_WRITE, 0, (long) count * record.length);
            for (int i = 0; i < count; i++) {
                mapped.put(record);
            }
        }
    }
}
