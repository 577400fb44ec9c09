package thread

import "golang.org/x/sys/unix"

// Become has what the calling thread makes in file systems belong to this user
// and group. On a mount with other owners (an idmapped one) only who is mapped can
// make anything, and the host's root is not. The thread keeps its capabilities,
// some of which the kernel takes away with the file system's user 0. It must be
// locked and thrown away.
func Become(uid, gid uint32) error {
	return keepingCaps(func() error {
		// These two calls have no errors: what they return is what was before.
		for _, set := range []struct {
			call func(int) (int, error)
			id   uint32
		}{{unix.SetfsgidRetGid, gid}, {unix.SetfsuidRetUid, uid}} {
			if _, err := set.call(int(set.id)); err != nil {
				return err
			}
			if now, err := set.call(-1); err != nil || uint32(now) != set.id {
				return unix.EPERM
			}
		}
		return nil
	})
}

// SetEUID changes the effective user of the calling thread, which keeps its
// capabilities. It must be locked, and thrown away.
func SetEUID(uid uint32) error {
	return keepingCaps(func() error {
		const same = ^uintptr(0)
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(uid), same); e != 0 {
			return e
		}
		return nil
	})
}

func keepingCaps(change func() error) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	return unix.Capset(&header, &caps[0])
}
