# A system that boots, laid out as a toplevel of NixOS is, out of Debian's
# programs: each of its paths is built and registered by nix.  Nothing is
# fetched; compiler and shell are this host's.
{ debian, nix }:
let
  built = name: script: extra:
    derivation ({
      inherit name;
      source = ./.;
      system = builtins.currentSystem;
      builder = "/bin/sh";
      args = [ "-euc" script ];
      PATH = "/usr/bin:/bin";
    } // extra);

  base = builtins.path { path = debian; name = "debian"; };

  # nix-store of this host, with its libraries and their loader.
  tool = built "nix" ''
    mkdir -p $out/bin $out/lib $out/libexec
    cp ${nix} $out/libexec/nix-store
    cp -L $(ldd ${nix} | grep -o '/[^ ]*') $out/lib/
    gcc -static -O1 -DNIX="\"$out\"" -o $out/bin/nix-store $source/enter.c
  '' { };
in
built "nixos-system-toy" ''
  mkdir -p $out/bin $out/sw/bin
  gcc -static -O1 -DBASE="\"$base\"" -DSYSTEM="\"$out\"" -o $out/init \
    $source/enter.c
  ln -s ../init $out/bin/switch-to-configuration
  ln -s $tool/bin/nix-store $out/sw/bin/nix-store
  sed "s|@base@|$base|; s|@system@|$out|" $source/stage-2 >$out/stage-2
  echo toy >$out/nixos-version
'' { inherit base tool; }
